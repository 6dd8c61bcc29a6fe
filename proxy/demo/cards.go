package demo

import (
	"bytes"
	"context"
	"io"

	"github.com/emersion/go-vcard"
	"github.com/emersion/go-webdav/carddav"
)

// cardBackend is a person's address books as the library wants them, for one request.
type cardBackend struct{ davRequest }

var _ carddav.Backend = cardBackend{}

func (b cardBackend) CurrentUserPrincipal(context.Context) (string, error) {
	return b.tree.principal, nil
}

func (b cardBackend) AddressBookHomeSetPath(context.Context) (string, error) {
	return b.tree.books, nil
}

func (b cardBackend) CreateAddressBook(_ context.Context, a *carddav.AddressBook) error {
	return made(b.tree.make(b.tree.books, a.Path, a.Name, a.Description))
}

func (b cardBackend) DeleteAddressBook(_ context.Context, path string) error {
	return b.tree.remove(path, b.when)
}

func bookOf(c collection) carddav.AddressBook {
	return carddav.AddressBook{
		Path: c.path, Name: c.name, Description: c.description, MaxResourceSize: maxDAVObject,
		SupportedAddressData: []carddav.AddressDataType{
			{ContentType: vcard.MIMEType, Version: "3.0"}, {ContentType: vcard.MIMEType, Version: "4.0"},
		},
	}
}

func (b cardBackend) ListAddressBooks(context.Context) ([]carddav.AddressBook, error) {
	var found []carddav.AddressBook
	for _, c := range b.tree.list(b.tree.books) {
		found = append(found, bookOf(c))
	}
	return found, nil
}

func (b cardBackend) GetAddressBook(_ context.Context, path string) (*carddav.AddressBook, error) {
	c, err := b.tree.collection(path)
	if err != nil {
		return nil, err
	}
	found := bookOf(c)
	return &found, nil
}

func addressObject(o object) (*carddav.AddressObject, error) {
	card, err := vcard.NewDecoder(bytes.NewReader(o.data)).Decode()
	if err != nil {
		return nil, err
	}
	return &carddav.AddressObject{Path: o.path, ModTime: o.modified, ContentLength: int64(len(o.data)), ETag: o.etag, Card: card}, nil
}

func (b cardBackend) GetAddressObject(_ context.Context, path string, _ *carddav.AddressDataRequest) (*carddav.AddressObject, error) {
	o, err := b.tree.object(path)
	if err != nil {
		return nil, err
	}
	return addressObject(o)
}

func (b cardBackend) ListAddressObjects(_ context.Context, path string, _ *carddav.AddressDataRequest) ([]carddav.AddressObject, error) {
	objects, err := b.tree.objects(path)
	if err != nil {
		return nil, err
	}
	var found []carddav.AddressObject
	for _, o := range objects {
		ao, err := addressObject(o)
		if err != nil {
			return nil, err
		}
		found = append(found, *ao)
	}
	return found, nil
}

func (b cardBackend) QueryAddressObjects(ctx context.Context, path string, q *carddav.AddressBookQuery) ([]carddav.AddressObject, error) {
	all, err := b.ListAddressObjects(ctx, collectionPath(path), nil)
	if err != nil {
		return nil, err
	}
	return carddav.Filter(q, all)
}

func (b cardBackend) PutAddressObject(_ context.Context, path string, card vcard.Card, _ *carddav.PutAddressObjectOptions) (*carddav.AddressObject, error) {
	// The library must be able to write it again in reports.
	if err := vcard.NewEncoder(io.Discard).Encode(card); err != nil {
		return nil, carddav.NewPreconditionError(carddav.PreconditionValidAddressData)
	}
	o, err := b.tree.store(path, b.body, b.when)
	if err != nil {
		return nil, err
	}
	return &carddav.AddressObject{Path: o.path, ModTime: o.modified, ETag: o.etag}, nil
}

func (b cardBackend) DeleteAddressObject(_ context.Context, path string) error {
	return b.tree.remove(path, b.when)
}
