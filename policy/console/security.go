package console

func (s *server) securityRoutes() {}
